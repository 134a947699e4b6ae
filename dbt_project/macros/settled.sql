{# The epochs of which every table exists and has passed its gates, as the platform lists them. #}
{% macro settled_epochs() -%}
read_parquet('{{ env_var("QUANTA_DBT_SETTLED", "settled_epochs.parquet") }}')
{%- endmacro %}

{# A table of the lake, one to one, for the settled epochs. #}
{% macro settled(table) %}
select source.*
from {{ source('lake', table) }} as source
inner join {{ settled_epochs() }} as settled using (epoch_id)
{% endmacro %}
