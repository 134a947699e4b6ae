{{ settled('validated_prices') }}
