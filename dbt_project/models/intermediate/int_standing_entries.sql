with

entries as (select * from {{ ref('stg_ledger_entries') }}),

taken_back as (
    select
        epoch_id,
        reverses as entry,
    from entries
    where reverses is not null
),

standing as (
    select entries.*
    from entries
    left join taken_back using (epoch_id, entry)
    where entries.reverses is null and taken_back.entry is null
)

select *
from standing
