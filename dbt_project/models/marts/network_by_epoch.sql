with

settled as (select * from {{ ref('epochs') }}),

board as (
    select *
    from {{ ref('leaderboard') }}
    where {{ is_built('epoch_id') }}
),

validators as (
    select
        epoch_id,
        count(*) as n_validators,
        {{ whole_sum('stake_rao') }} as stake_rao,
    from {{ ref('stg_validator_results') }}
    group by all
),

roles as (
    select
        epoch_id,
        count(*) filter (where role = 'signal_generator') as n_signal_generators,
        count(*) filter (where role = 'solo_miner') as n_solo_miners,
        count(*) filter (where role = 'pool_operator') as n_pool_operators,
    from {{ ref('stg_participants') }}
    group by all
),

boards as (
    select
        epoch_id,
        count(*) as n_miners,
        count(*) filter (where tier = 'top_tier') as n_top_tier,
        count(*) filter (where tier = 'profitable') as n_profitable,
        count(*) filter (where tier = 'break_even') as n_break_even,
        count(*) filter (where tier = 'penalty_band') as n_penalty_band,
        {{ mean('return_7d') }} as mean_return_7d,
        {{ mean('return_30d') }} as mean_return_30d,
        {{ mean('return_30d', 'rank <= 10') }} as top_10_mean_return_30d,
        first(return_30d order by rank, hotkey) as first_return_30d,
    from board
    group by all
),

to_date as (
    select
        epoch_id,
        {{ whole_sum('rewards_rao', over='so_far') }} as rewards_to_date_rao,
        {{ whole_sum('burned_rao', over='so_far') }} as burned_to_date_rao,
    from settled
    window so_far as (order by epoch_id rows between unbounded preceding and current row)
),

totals as (
    select
        to_date.epoch_id,
        coalesce(roles.n_signal_generators, 0) as n_signal_generators,
        coalesce(roles.n_solo_miners, 0) as n_solo_miners,
        coalesce(roles.n_pool_operators, 0) as n_pool_operators,
        coalesce(validators.n_validators, 0) as n_validators,
        coalesce(validators.stake_rao, 0) as stake_rao,
        to_date.rewards_to_date_rao,
        to_date.burned_to_date_rao,
        coalesce(boards.n_miners, 0) as n_miners,
        coalesce(boards.n_top_tier, 0) as n_top_tier,
        coalesce(boards.n_profitable, 0) as n_profitable,
        coalesce(boards.n_break_even, 0) as n_break_even,
        coalesce(boards.n_penalty_band, 0) as n_penalty_band,
        boards.mean_return_7d,
        boards.mean_return_30d,
        boards.top_10_mean_return_30d,
        boards.first_return_30d,
    from to_date
    left join boards using (epoch_id)
    left join validators using (epoch_id)
    left join roles using (epoch_id)
    where {{ is_built('to_date.epoch_id') }}
)

select *
from totals
order by epoch_id
