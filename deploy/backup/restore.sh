#!/bin/sh
# Puts a backup into empty databases and an empty lake; refuses where anything is already.
#
#   restore.sh FOLDER     with QUANTA_DATABASE_URL, QUANTA_DAGSTER_POSTGRES_URL and QUANTA_LAKE set
set -eu
folder=${1:?usage: restore.sh FOLDER}
here=$(dirname "$0")
python=${QUANTA_PYTHON:-/opt/quanta/.venv/bin/python}
: "${QUANTA_DATABASE_URL:?}" "${QUANTA_DAGSTER_POSTGRES_URL:?}" "${QUANTA_LAKE:?}"
(cd "$folder" && sha256sum --check --quiet SHA256SUMS)
for url in "$QUANTA_DATABASE_URL" "$QUANTA_DAGSTER_POSTGRES_URL"; do
    tables=$(psql --no-psqlrc --tuples-only --no-align --dbname="$url" \
        --command="select count(*) from pg_tables where schemaname = 'public'")
    [ "$tables" = 0 ] || { echo "a database to restore into has $tables tables already" >&2; exit 1; }
done
"$python" "$here/lake_copy.py" "$folder/lake" "$QUANTA_LAKE"
[ -n "$(find "$folder/lake" -name '*.parquet')" ] || empty=--empty-lake
"$python" "$here/verify.py" "$QUANTA_LAKE" ${empty:+"$empty"}
pg_restore --no-owner --exit-on-error --single-transaction --dbname="$QUANTA_DATABASE_URL" "$folder/signals.dump"
pg_restore --no-owner --exit-on-error --single-transaction --dbname="$QUANTA_DAGSTER_POSTGRES_URL" "$folder/dagster.dump"
echo "restored; now: quanta db upgrade, quanta audit --all, and build the marts"
