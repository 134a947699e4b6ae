with

settled as (select * from {{ source('platform', 'settled_epochs') }}),

standings as (
    select
        epoch_id,
        count(*) filter (where standing = 'ranked') as n_ranked,
        count(*) filter (where standing = 'provisional') as n_provisional,
        count(*) filter (where standing = 'unranked') as n_unranked,
        count(*) filter (where standing = 'unrevealed') as n_unrevealed,
        round(avg(composite) filter (where standing = 'ranked'), 6) as mean_composite,
        round(median(composite) filter (where standing = 'ranked'), 6) as median_composite,
        round(max(composite) filter (where standing = 'ranked'), 6) as best_composite,
    from {{ ref('stg_scores') }}
    group by all
),

votes as (
    select
        epoch_id,
        count(distinct validator) as n_validators,
    from {{ ref('stg_validator_weights') }}
    group by all
),

winners as (
    select
        epoch_id,
        count(*) filter (where gross_rao > 0) as n_paid,
    from {{ ref('stg_rewards') }}
    group by all
),

prices as (
    select
        epoch_id,
        count(distinct session) as n_sessions,
        count(distinct ticker) as n_tickers,
    from {{ ref('stg_validated_prices') }}
    group by all
),

movements as (
    select
        epoch_id,
        {% for name, reasons in {
            'emission_rao': ['emission'],
            'external_rao': ['external'],
            'antes_staked_rao': ['ante_staked'],
            'antes_refunded_rao': ['ante_refunded'],
            'carry_in_rao': ['carry_in'],
            'rake_rao': ['rake'],
            'rewards_rao': ['reward'],
            'antes_returned_rao': ['ante_returned'],
            'antes_burned_rao': ['ante_burned'],
            'fees_burned_rao': ['fee_burned'],
            'fees_to_treasury_rao': ['fee'],
            'carry_out_rao': ['carry_out'],
        }.items() -%}
        coalesce(
            cast(sum(amount_rao) filter (where reason in ('{{ reasons | join("', '") }}')) as bigint), 0
        ) as {{ name }},
        {% endfor %}
    from {{ ref('stg_ledger_entries') }}
    group by all
),

totals as (
    select
        settled.epoch_id,
        prices.n_sessions,
        prices.n_tickers,
        standings.* exclude (epoch_id),
        coalesce(votes.n_validators, 0) as n_validators,
        coalesce(winners.n_paid, 0) as n_paid,
        movements.* exclude (epoch_id),
    from settled
    inner join prices using (epoch_id)
    left join standings using (epoch_id)
    left join votes using (epoch_id)
    left join winners using (epoch_id)
    left join movements using (epoch_id)
)

select *
from totals
order by epoch_id
