{# A statement about one row is true of every row that was built. #}
{% test holds(model, statement) %}
select *
from {{ model }}
where {{ is_built('epoch_id') }} and not coalesce({{ statement }}, false)
{% endtest %}
