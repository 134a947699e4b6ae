with

prices as (select * from {{ ref('stg_validated_prices') }}),

observed as (
    select
        prices.epoch_id,
        prices.ticker,
        count(*) as n_observations,
    from {{ ref('stg_raw_prices') }}
    inner join prices using (epoch_id, ticker, session)
    group by all
),

weights as (
    select
        epoch_id,
        ticker,
        hotkey,
        cast(submitted_weight as decimal(38, 12)) as weight,
    from {{ ref('stg_portfolios') }}
),

totals as (
    select
        epoch_id,
        sum(weight) as total_weight,
    from weights
    group by all
),

held as (
    select
        epoch_id,
        ticker,
        count(distinct hotkey) as n_holders,
        sum(weight) as weight,
    from weights
    group by all
),

judged as (
    select
        epoch_id,
        ticker,
        count(*) as n_sessions,
        count(*) filter (where status = 'settled') as n_settled,
        count(*) filter (where status = 'disputed') as n_disputed,
        count(*) filter (where status = 'missing') as n_missing,
        count(*) filter (where list_contains(string_split(sources, ','), 'correction'))
            as n_corrected,
        count(*) filter (where anomaly) as n_anomalies,
        count(*) filter (where stale) as n_stale,
        count(*) filter (where low_volume) as n_low_volume,
        count(*) filter (where flat_line) as n_flat_line,
        count(*) filter (where adjustment_mismatch) as n_adjustment_mismatch,
        max(carried_sessions) as longest_carry,
        min(n_vendors) as fewest_vendors,
        max(n_vendors) as most_vendors,
        bool_or(in_universe) as in_universe,
    from prices
    group by all
),

quality as (
    select
        judged.epoch_id,
        judged.ticker,
        judged.in_universe,
        judged.n_sessions,
        judged.n_settled,
        judged.n_disputed,
        judged.n_missing,
        round(judged.n_settled / judged.n_sessions, 6) as settled_share,
        judged.n_corrected,
        judged.n_anomalies,
        judged.n_stale,
        judged.n_low_volume,
        judged.n_flat_line,
        judged.n_adjustment_mismatch,
        judged.longest_carry,
        coalesce(observed.n_observations, 0) as n_observations,
        judged.fewest_vendors,
        judged.most_vendors,
        coalesce(held.n_holders, 0) as n_holders,
        coalesce(round(cast(held.weight as double) / cast(totals.total_weight as double), 9), 0)
            as held_share,
    from judged
    left join observed using (epoch_id, ticker)
    left join held using (epoch_id, ticker)
    left join totals using (epoch_id)
)

select *
from quality
order by epoch_id, ticker
