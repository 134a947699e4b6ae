{# Mean to six decimals over whole numbers of 10^-12: the same in whatever order rows are added. #}
{% macro mean(column, condition=none, over='') -%}
{% set rows -%}
{{ 'filter (where ' ~ condition ~ ') ' if condition }}{{ 'over ' ~ over if over }}
{%- endset -%}
round(cast(sum(cast({{ column }} as decimal(38, 12))) {{ rows }} as double) / count({{ column }}) {{ rows }}, 6)
{%- endmacro %}

{# A sum of whole numbers as such; nothing is zero. #}
{% macro whole_sum(column, over='') -%}
cast(coalesce(sum({{ column }}){{ ' over ' ~ over if over }}, 0) as bigint)
{%- endmacro %}
