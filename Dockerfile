# The nightly line and the Airflow that runs it: one image for every service of docker-compose.yml.
FROM python:3.11.16-slim-bookworm

# The root file system is read-only at run time: what is written goes to AIRFLOW_HOME,
# ATTRIBUTION_HOME or /tmp. The airflow.cfg that Airflow generates stays out of the volume,
# where it would outlive an upgrade and pin yesterday's defaults.
ENV PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW_CONFIG=/tmp/airflow.cfg \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/attribution/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=false \
    ATTRIBUTION_HOME=/var/lib/attribution

RUN groupadd --gid 50000 attribution \
    && useradd --uid 50000 --gid 50000 --no-create-home --home-dir /opt/airflow attribution \
    && install -d -o 50000 -g 50000 -m 0750 /opt/airflow /var/lib/attribution

WORKDIR /opt/attribution

# No build isolation: it would fetch build tools that the lock does not name.
COPY requirements.txt ./
RUN pip install --no-cache-dir --no-build-isolation --require-hashes --requirement requirements.txt

# Editable, so that the package stands beside dbt_project/ and expectations/ as in the repository.
COPY pyproject.toml ./
COPY attribution/ attribution/
COPY dags/ dags/
COPY dbt_project/ dbt_project/
COPY expectations/ expectations/
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -m compileall -q attribution

USER 50000:50000
CMD ["attribution", "--help"]
