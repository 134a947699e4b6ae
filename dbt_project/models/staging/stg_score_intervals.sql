{{ settled('score_intervals') }}
