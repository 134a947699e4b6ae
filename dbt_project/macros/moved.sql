{# Money that moved under a condition, in rao; nothing moved is zero. #}
{% macro moved(condition) -%}
coalesce(cast(sum(amount_rao) filter (where {{ condition }}) as bigint), 0)
{%- endmacro %}
