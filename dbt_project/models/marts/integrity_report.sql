with

flags as (select * from {{ ref('stg_integrity_flags') }}),

scores as (select * from {{ ref('stg_scores') }}),

pairs as (
    select
        epoch_id,
        hotkey,
        count(distinct other_hotkey) as n_alike,
    from {{ ref('stg_portfolio_similarity') }}
    group by all
),

cases as (
    select
        epoch_id,
        hotkey,
        max(opened_epoch) filter (where kind <> 'non_reveal') as opened_epoch,
        arg_max(case_id, opened_epoch) filter (where kind <> 'non_reveal') as case_id,
        arg_max(state, opened_epoch) filter (where kind <> 'non_reveal') as case_state,
        arg_max(decide_by, opened_epoch) filter (where kind <> 'non_reveal') as decide_by,
        count(*) filter (where state = 'confirmed') as n_confirmed,
    from {{ ref('stg_integrity_cases') }}
    group by all
),

report as (
    select
        flags.epoch_id,
        flags.hotkey,
        scores.standing,
        flags.originality,
        flags.correlation,
        flags.correlation_threshold,
        flags.earlier_hotkey,
        flags.earlier_since_epoch,
        flags.own_since_epoch,
        flags.shared_weight,
        flags.active_sessions,
        strftime(flags.first_session, '%Y-%m-%d') as first_session,
        strftime(flags.last_session, '%Y-%m-%d') as last_session,
        flags.active_reason,
        coalesce(pairs.n_alike, 0) as n_alike,
        flags.variance_ratio,
        flags.variance_threshold,
        flags.variance_factor,
        flags.variance_high_epochs,
        flags.variance_flag,
        flags.cluster_id,
        flags.cluster_size,
        flags.cluster_member,
        flags.cluster_link,
        flags.cluster_other,
        flags.cluster_correlation,
        flags.cluster_threshold,
        flags.cluster_sessions,
        strftime(flags.cluster_last_session, '%Y-%m-%d') as cluster_last_session,
        flags.plagiarism_suspected,
        flags.suspected_of,
        flags.suspect_epochs,
        flags.suspect_threshold,
        flags.contribution,
        flags.stake_rao,
        flags.least_stake_rao,
        flags.below_least_stake,
        cases.case_id,
        cases.case_state,
        cases.opened_epoch as case_opened_epoch,
        strftime(timezone('UTC', cases.decide_by), '%Y-%m-%dT%H:%M:%SZ') as case_decide_by,
        coalesce(cases.n_confirmed, 0) as n_confirmed,
    from flags
    inner join scores using (epoch_id, hotkey)
    left join pairs using (epoch_id, hotkey)
    left join cases using (epoch_id, hotkey)
)

select *
from report
order by epoch_id, hotkey
