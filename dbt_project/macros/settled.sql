{# Epochs that this build reads from the lake, oldest first; the platform names them. Their rows
   replace those of a mart from the first of them on: records of later epochs go on from them. #}
{% macro built_epochs() %}
{{ return(env_var('QUANTA_DBT_EPOCHS', '2019-Q2-W23').split(',')) }}
{% endmacro %}

{# A table of the lake, one to one, for these epochs: their files are named, so that an epoch is
   built without opening those of its predecessors. #}
{% macro settled(table) %}
{% set lineage = source('lake', table) %}
{% set folder = env_var('QUANTA_DBT_LAKE', 'lake') ~ '/' ~ table %}
select *
from read_parquet([
    {% for epoch in built_epochs() %}
    '{{ folder | replace("'", "''") }}/{{ epoch }}.parquet'{{ ',' if not loop.last }}
    {% endfor %}
])
{% endmacro %}

{# Whether a row of a mart that holds all epochs belongs to this build. #}
{% macro is_built(column) -%}
{{ column }} >= '{{ built_epochs()[0] }}'
{%- endmacro %}

{# Rows of earlier epochs from this mart itself, after the rows of this build; none in a full one. #}
{% macro and_earlier(columns) %}
{% if is_incremental() %}
union all
select {{ columns }}
from {{ this }}
where epoch_id < '{{ built_epochs()[0] }}'
{% endif %}
{% endmacro %}

{# What an incremental build takes away first: a restated epoch, and epochs that are no longer
   settled, leave no row behind. #}
{% macro make_room() %}
{% if is_incremental() %}
delete from {{ this }}
where epoch_id >= '{{ built_epochs()[0] }}'
{% endif %}
{% endmacro %}
