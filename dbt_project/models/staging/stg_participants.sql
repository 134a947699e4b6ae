{{ settled('participants') }}
