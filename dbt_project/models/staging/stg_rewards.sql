{{ settled('rewards') }}
