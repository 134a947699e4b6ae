with

standings as (
    select
        epoch_id,
        count(*) filter (where standing = 'ranked') as n_ranked,
        count(*) filter (where standing = 'provisional') as n_provisional,
        count(*) filter (where standing = 'unranked') as n_unranked,
        count(*) filter (where standing = 'unrevealed') as n_unrevealed,
        {{ mean('composite', "standing = 'ranked'") }} as mean_composite,
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

agreed as (
    select
        epoch_id,
        count(*) as n_agreed,
    from {{ ref('stg_consensus') }}
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
        {{ moved("reason = 'emission' and to_account = 'pool'") }} as emission_rao,
        {{ moved("to_account = 'validators'") }} as validator_emission_rao,
        {{ moved("to_account = 'owner'") }} as owner_emission_rao,
        {{ moved("reason = 'external'") }} as external_rao,
        {{ moved("reason = 'ante_staked'") }} as antes_staked_rao,
        {{ moved("reason = 'ante_refunded'") }} as antes_refunded_rao,
        {{ moved("reason = 'carry_in'") }} as carry_in_rao,
        {{ moved("reason = 'rake'") }} as rake_rao,
        {{ moved("reason = 'reward'") }} as rewards_rao,
        {{ moved("reason = 'ante_returned'") }} as antes_returned_rao,
        {{ moved("reason = 'ante_burned'") }} as antes_burned_rao,
        {{ moved("reason = 'fee_burned'") }} as fees_burned_rao,
        {{ moved("reason = 'fee'") }} as fees_to_treasury_rao,
        {{ moved("reason = 'carry_out'") }} as carry_out_rao,
    from {{ ref('int_standing_entries') }}
    group by all
),

totals as (
    select
        prices.epoch_id,
        prices.n_sessions,
        prices.n_tickers,
        standings.* exclude (epoch_id),
        coalesce(votes.n_validators, 0) as n_validators,
        coalesce(winners.n_paid, 0) as n_paid,
        coalesce(votes.n_validators, 0) = 0 or coalesce(agreed.n_agreed, 0) > 0 as has_consensus,
        movements.* exclude (epoch_id),
        movements.rewards_rao + movements.antes_returned_rao as distributed_rao,
        movements.antes_burned_rao + movements.fees_burned_rao as burned_rao,
    from prices
    left join standings using (epoch_id)
    left join votes using (epoch_id)
    left join agreed using (epoch_id)
    left join winners using (epoch_id)
    left join movements using (epoch_id)
)

select *
from totals
order by epoch_id
