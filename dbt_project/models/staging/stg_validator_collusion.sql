{{ settled('validator_collusion') }}
