{{ settled('integrity_flags') }}
