with

consensus as (select * from {{ ref('stg_consensus') }}),

scores as (select * from {{ ref('stg_scores') }}),

intervals as (select * from {{ ref('stg_score_intervals') }}),

rewards as (select * from {{ ref('stg_rewards') }}),

horizons as (
    select
        epoch_id,
        hotkey,
        max(total_return) filter (where horizon = 7) as return_7d,
        max(total_return) filter (where horizon = 30) as return_30d,
        max(sharpe_ratio) filter (where horizon = 30) as sharpe_30d,
        max(max_drawdown) filter (where horizon = 30) as max_drawdown_30d,
    from {{ ref('stg_horizon_metrics') }}
    group by all
),

percentiles as (
    select
        epoch_id,
        hotkey,
        percentile,
    from consensus
    {{ and_earlier('epoch_id, hotkey, percentile') }}
),

track_record as (
    select
        epoch_id,
        hotkey,
        count(*) over so_far as epochs_participated,
        {{ mean('percentile', over='so_far') }} as average_percentile,
    from percentiles
    window so_far as (
        partition by hotkey
        order by epoch_id
        rows between unbounded preceding and current row
    )
),

ranked as (
    select
        consensus.epoch_id,
        consensus.rank,
        consensus.hotkey,
        scores.composite,
        intervals.lower as composite_lower,
        intervals.upper as composite_upper,
        consensus.tier,
        consensus.eligible,
        rewards.final_tier,
        consensus.percentile,
        consensus.consensus_weight,
        scores.score_rank,
        scores.final_score,
        scores.portfolio_tier,
        horizons.return_7d,
        horizons.return_30d,
        horizons.sharpe_30d,
        horizons.max_drawdown_30d,
        track_record.epochs_participated,
        track_record.average_percentile,
        rewards.ante_rao,
        rewards.gross_rao,
        rewards.payout_rao,
    from consensus
    inner join scores using (epoch_id, hotkey)
    left join intervals using (epoch_id, hotkey)
    inner join rewards using (epoch_id, hotkey)
    left join horizons using (epoch_id, hotkey)
    inner join track_record using (epoch_id, hotkey)
)

select *
from ranked
order by epoch_id, rank, hotkey
