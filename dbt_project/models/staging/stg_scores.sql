{{ settled('scores') }}
