# One image for every process: `docker run jobqueue worker -A shop.jobs`, `... scheduler`, `... api`, `... migrate up`.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY jobqueue jobqueue
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/jobqueue \
    && /opt/jobqueue/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[postgres,fast,cli,api]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/jobqueue /opt/jobqueue
ENV PATH=/opt/jobqueue/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin jobqueue
USER 10001:10001
WORKDIR /app
# The exec form: signals reach jobqueue itself, and SIGTERM is its graceful stop. A worker with --processes wants
# an init that reaps (docker run --init; compose.yaml has it).
ENTRYPOINT ["jobqueue"]
CMD ["--help"]
STOPSIGNAL SIGTERM
# None on purpose: the image is of every process, and each has its own. compose.yaml asks the probes of worker and
# scheduler (JOBQUEUE_PROBE_PORT), and the API itself.
HEALTHCHECK NONE
