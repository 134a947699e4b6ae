{# A statement about one row is true of every row. #}
{% test holds(model, statement) %}
select *
from {{ model }}
where not coalesce({{ statement }}, false)
{% endtest %}
