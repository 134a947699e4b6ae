with

scores as (select * from {{ ref('stg_scores') }}),

participants as (select * from {{ ref('stg_participants') }}),

consensus as (select * from {{ ref('stg_consensus') }}),

rewards as (select * from {{ ref('stg_rewards') }}),

horizons as (
    select
        epoch_id,
        hotkey,
        max(total_return) filter (where horizon = 7) as return_7d,
        max(total_return) filter (where horizon = 30) as return_30d,
        max(total_return) filter (where horizon = 90) as return_90d,
        max(sharpe_ratio) filter (where horizon = 30) as sharpe_30d,
        max(sortino_ratio) filter (where horizon = 30) as sortino_30d,
        max(max_drawdown) filter (where horizon = 30) as max_drawdown_30d,
    from {{ ref('stg_horizon_metrics') }}
    group by all
),

epochs_own as (
    select
        scores.epoch_id,
        scores.hotkey,
        participants.role,
        participants.next_role,
        coalesce(participants.standing, scores.standing) as standing,
        coalesce(rewards.reason, scores.reason) as reason,
        scores.composite,
        consensus.rank,
        consensus.percentile,
        consensus.tier,
        rewards.final_tier,
        coalesce(consensus.eligible, false) as eligible,
        scores.portfolio_tier,
        scores.history_sessions,
        horizons.* exclude (epoch_id, hotkey),
        coalesce(rewards.ante_rao, 0) as ante_rao,
        coalesce(rewards.gross_rao - rewards.fee_rao, 0) as reward_rao,
        coalesce(rewards.ante_burned_rao, 0) as ante_burned_rao,
        coalesce(rewards.payout_rao - rewards.ante_rao, 0) as profit_rao,
        participants.uptime,
        participants.reputation,
        participants.identity,
        participants.open_offence,
        participants.offences,
        participants.slashed_rao,
    from scores
    inner join participants using (epoch_id, hotkey)
    left join consensus using (epoch_id, hotkey)
    left join rewards using (epoch_id, hotkey)
    left join horizons using (epoch_id, hotkey)
),

record as (
    select
        epoch_id,
        hotkey,
        rank,
        percentile,
        reward_rao,
        profit_rao,
        slashed_rao,
    from epochs_own
    {{ and_earlier('epoch_id, hotkey, rank, percentile, reward_rao, profit_rao, slashed_rao') }}
),

to_date as (
    select
        epoch_id,
        hotkey,
        count(*) over so_far as epochs_present,
        count(rank) over so_far as epochs_ranked,
        count(*) filter (where reward_rao > 0) over so_far as epochs_paid,
        min(rank) over so_far as best_rank,
        {{ mean('percentile', over='so_far') }} as average_percentile,
        {{ whole_sum('reward_rao', over='so_far') }} as rewards_to_date_rao,
        {{ whole_sum('profit_rao', over='so_far') }} as profit_to_date_rao,
        {{ whole_sum('slashed_rao', over='so_far') }} as slashed_to_date_rao,
    from record
    window so_far as (
        partition by hotkey
        order by epoch_id
        rows between unbounded preceding and current row
    )
),

track_record as (
    select
        epochs_own.*,
        to_date.* exclude (epoch_id, hotkey),
    from epochs_own
    inner join to_date using (epoch_id, hotkey)
)

select *
from track_record
order by epoch_id, hotkey
