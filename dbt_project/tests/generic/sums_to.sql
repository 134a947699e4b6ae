{# Of the rows that share a key, a column adds up to a number, exactly. #}
{% test sums_to(model, column, by, total) %}
select {{ by | join(', ') }}, sum({{ column }}) as found
from {{ model }}
where {{ is_built('epoch_id') }}
group by all
having sum({{ column }}) <> {{ total }}
{% endtest %}
