{{ settled('validator_results') }}
