{{ settled('integrity_cases') }}
