{# No two rows share the key, and no part of it is empty. The epoch is part of every key. #}
{% test unique_key(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as n_rows,
from {{ model }}
where {{ is_built('epoch_id') }} or epoch_id is null
group by all
having count(*) > 1 or {% for column in columns %}{{ column }} is null{{ ' or ' if not loop.last }}{% endfor %}

{% endtest %}
