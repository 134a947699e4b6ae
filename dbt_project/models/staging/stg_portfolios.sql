{{ settled('portfolios') }}
