{{ settled('portfolio_similarity') }}
