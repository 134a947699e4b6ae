{{ settled('commitments') }}
