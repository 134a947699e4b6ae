{{ settled('raw_prices') }}
