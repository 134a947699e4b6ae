{# A column is, row by row, what another one has added up to since the key's first epoch: each row
   that was built is compared with the one before it, the first with the last that was kept. #}
{% test accumulates(model, column, part, by) %}
with kept as (
    select
        {{ by | join(', ') }},
        arg_max({{ column }}, epoch_id) as total,
    from {{ model }}
    where not {{ is_built('epoch_id') }}
    group by all
),

built as (
    select
        {{ by | join(', ') }},
        epoch_id,
        {{ column }} as total,
        {{ part }} as part,
        lag({{ column }}) over (partition by {{ by | join(', ') }} order by epoch_id) as before,
    from {{ model }}
    where {{ is_built('epoch_id') }}
)

select built.*
from built
left join kept using ({{ by | join(', ') }})
where built.total is distinct from coalesce(built.before, kept.total, 0) + built.part
{% endtest %}
