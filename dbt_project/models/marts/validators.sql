with

results as (select * from {{ ref('stg_validator_results') }}),

votes as (
    select
        epoch_id,
        validator,
        count(*) as n_miners,
        min(received_at) as received_at,
        min(data_hash) as data_hash,
    from {{ ref('stg_validator_weights') }}
    group by all
),

dividends as (
    select
        epoch_id,
        split_part(to_account, ':', 2) as validator,
        {{ whole_sum('amount_rao') }} as dividend_rao,
    from {{ ref('int_standing_entries') }}
    where reason = 'dividend'
    group by all
),

suspicions as (
    select
        epoch_id,
        unnest([validator, other]) as validator,
    from {{ ref('stg_validator_collusion') }}
    where flagged and voted_in = epoch_id
),

suspected as (
    select
        epoch_id,
        validator,
        count(*) as n_alike,
    from suspicions
    group by all
),

epochs_own as (
    select
        results.epoch_id,
        results.validator,
        results.stake_rao,
        results.stake_share,
        results.stake_cap,
        results.voted,
        coalesce(votes.n_miners, 0) as n_miners,
        strftime(timezone('UTC', votes.received_at), '%Y-%m-%dT%H:%M:%SZ') as received_at,
        votes.data_hash,
        results.agreement,
        results.divergence,
        results.validator_trust,
        results.dividend_units,
        coalesce(dividends.dividend_rao, 0) as dividend_rao,
        results.upheld_disputes,
        coalesce(suspected.n_alike, 0) as n_alike,
    from results
    left join votes using (epoch_id, validator)
    left join dividends using (epoch_id, validator)
    left join suspected using (epoch_id, validator)
),

record as (
    select
        epoch_id,
        validator,
        voted,
        dividend_rao,
    from epochs_own
    {{ and_earlier('epoch_id, validator, voted, dividend_rao') }}
),

to_date as (
    select
        epoch_id,
        validator,
        count(*) over so_far as epochs_present,
        count(*) filter (where voted) over so_far as epochs_voted,
        {{ whole_sum('dividend_rao', over='so_far') }} as dividends_to_date_rao,
    from record
    window so_far as (
        partition by validator
        order by epoch_id
        rows between unbounded preceding and current row
    )
),

validators as (
    select
        epochs_own.*,
        to_date.* exclude (epoch_id, validator),
    from epochs_own
    inner join to_date using (epoch_id, validator)
)

select *
from validators
order by epoch_id, validator
