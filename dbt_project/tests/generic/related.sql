{# Every key of this model exists in another one. #}
{% test related(model, to, columns) %}
select {{ columns | join(', ') }}
from {{ model }}
where {{ is_built('epoch_id') }}
except
select {{ columns | join(', ') }}
from {{ to }}
{% endtest %}
