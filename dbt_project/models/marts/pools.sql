with

payouts as (select * from {{ ref('stg_pool_payouts') }}),

board as (select * from {{ ref('leaderboard') }}),

divided as (
    select
        epoch_id,
        earned_epoch,
        operator,
        state,
        pool_reward_rao,
        operator_fee_rao,
        count(*) as n_members,
        count(*) filter (where payout_rao > 0) as n_members_earning,
        {{ whole_sum('payout_rao') }} as members_rao,
        max(payout_rao) as largest_member_rao,
    from payouts
    group by all
),

pools as (
    select
        divided.epoch_id,
        divided.earned_epoch,
        divided.operator,
        divided.state,
        board.rank as operator_rank,
        board.tier as operator_tier,
        divided.n_members,
        divided.n_members_earning,
        divided.pool_reward_rao,
        divided.operator_fee_rao,
        divided.members_rao,
        divided.largest_member_rao,
        round(divided.operator_fee_rao / nullif(divided.pool_reward_rao, 0), 6) as fee_share,
    from divided
    left join board
        on divided.earned_epoch = board.epoch_id and divided.operator = board.hotkey
)

select *
from pools
order by epoch_id, earned_epoch, operator
