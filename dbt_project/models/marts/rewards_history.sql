with

rewards as (select * from {{ ref('stg_rewards') }}),

earned as (
    select
        epoch_id,
        hotkey,
        standing,
        reason,
        eligible,
        rank,
        tier,
        final_tier,
        reward_share,
        ante_rao,
        gross_rao,
        fee_rao,
        gross_rao - fee_rao as reward_rao,
        ante_returned_rao,
        ante_burned_rao,
        payout_rao,
        payout_rao - ante_rao as profit_rao,
        round((payout_rao - ante_rao) / nullif(ante_rao, 0), 6) as return_on_ante,
    from rewards
),

record as (
    select
        epoch_id,
        hotkey,
        ante_rao,
        reward_rao,
        profit_rao,
    from earned
    {{ and_earlier('epoch_id, hotkey, ante_rao, reward_rao, profit_rao') }}
),

to_date as (
    select
        epoch_id,
        hotkey,
        {{ whole_sum('ante_rao', over='so_far') }} as antes_to_date_rao,
        {{ whole_sum('reward_rao', over='so_far') }} as rewards_to_date_rao,
        {{ whole_sum('profit_rao', over='so_far') }} as profit_to_date_rao,
    from record
    window so_far as (
        partition by hotkey
        order by epoch_id
        rows between unbounded preceding and current row
    )
),

history as (
    select
        earned.*,
        to_date.* exclude (epoch_id, hotkey),
    from earned
    inner join to_date using (epoch_id, hotkey)
)

select *
from history
order by epoch_id, hotkey
