{{ settled('validator_weights') }}
