{# The mart reaches the last epoch that this build read: none of its rows are left behind. #}
{% test fresh(model) %}
select *
from (select max(epoch_id) as newest from {{ model }})
where newest is distinct from '{{ built_epochs() | last }}'
{% endtest %}
