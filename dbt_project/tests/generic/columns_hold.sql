{# What the YAML says of each column (`meta.holds`) is true of every row: one look at the table for
   all columns; a row of the result names a column and how many rows break its statement. #}
{% test columns_hold(model) %}
{% set found = [] %}
{% for node in (graph.nodes.values() if execute else []) %}
{% if node.resource_type == 'model' and node.name == model.identifier %}
{% for column in node.columns.values() %}{% do found.append(column) %}{% endfor %}
{% endif %}
{% endfor %}
with counted as (
    select
        {% for column in found %}
        count(*) filter (where not coalesce({{ column.meta.holds }}, false)) as "{{ column.name }}",
        {% else %}
        0 as nothing,
        {% endfor %}
    from {{ model }}
    where {{ is_built('epoch_id') }} or epoch_id is null
)
select column_name, broken_rows
from (unpivot counted on columns(*) into name column_name value broken_rows)
where broken_rows > 0
{% endtest %}
