with

entries as (select * from {{ ref('stg_ledger_entries') }}),

sides as (
    select
        epoch_id,
        to_account as account,
        amount_rao as received_rao,
        0 as paid_rao,
    from entries
    union all
    select
        epoch_id,
        from_account as account,
        0 as received_rao,
        amount_rao as paid_rao,
    from entries
),

moved as (
    select
        epoch_id,
        account,
        count(*) as n_entries,
        {{ whole_sum('received_rao') }} as received_rao,
        {{ whole_sum('paid_rao') }} as paid_rao,
        {{ whole_sum('received_rao - paid_rao') }} as change_rao,
    from sides
    group by all
),

changes as (
    select
        epoch_id,
        account,
        change_rao,
    from moved
    {{ and_earlier('epoch_id, account, change_rao') }}
),

closing as (
    select
        epoch_id,
        account,
        {{ whole_sum('change_rao', over='so_far') }} as closing_rao,
    from changes
    window so_far as (
        partition by account
        order by epoch_id
        rows between unbounded preceding and current row
    )
),

balances as (
    select
        moved.epoch_id,
        moved.account,
        split_part(moved.account, ':', 1) as kind,
        nullif(split_part(moved.account, ':', 2), '') as hotkey,
        closing.closing_rao - moved.change_rao as opening_rao,
        moved.received_rao,
        moved.paid_rao,
        moved.change_rao,
        closing.closing_rao,
        moved.n_entries,
    from moved
    inner join closing using (epoch_id, account)
)

select *
from balances
order by epoch_id, account
