{{ settled('consensus') }}
