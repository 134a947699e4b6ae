{{ settled('reveals') }}
