{{ settled('pool_payouts') }}
