{# A statement about the rows that share a key is true of every key. #}
{% test groups_hold(model, by, statement) %}
select {{ by | join(', ') }}
from {{ model }}
where {{ is_built('epoch_id') }}
group by all
having not coalesce({{ statement }}, false)
{% endtest %}
