{# A table of the lake, one to one, for the epochs that have passed every gate. #}
{% macro settled(table) %}
select source.*
from {{ source('lake', table) }} as source
inner join {{ source('platform', 'settled_epochs') }} as settled using (epoch_id)
{% endmacro %}
