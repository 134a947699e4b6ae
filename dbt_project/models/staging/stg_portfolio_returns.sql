{{ settled('portfolio_returns') }}
