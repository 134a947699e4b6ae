{# Every key of this model exists in another one. #}
{% test related(model, to, columns) %}
select {{ columns | join(', ') }}
from {{ model }}
except
select {{ columns | join(', ') }}
from {{ to }}
{% endtest %}
