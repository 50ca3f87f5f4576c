# Two images: `gateway`, which has no image library, and `compressor`, which also migrates, renders nginx.conf and works.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS gateway-environment
RUN python3 -m venv /pip && python3 -m venv --without-pip /app
COPY pyproject.toml /
RUN python3 -c 'import tomllib; print(*tomllib.load(open("/pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > /wanted \
    && /pip/bin/pip --python /app/bin/python install --no-cache-dir --only-binary :all: -r /wanted

FROM gateway-environment AS compressor-environment
ARG EXTRAS=compressor
RUN python3 -c 'import sys, tomllib; extras = tomllib.load(open("/pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*(one for name in sys.argv[1:] for one in extras[name]), sep="\n")' $EXTRAS > /wanted \
    && /pip/bin/pip --python /app/bin/python install --no-cache-dir --only-binary :all: -r /wanted

FROM ${BASE} AS house
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin chipmunk \
    && install -d -o chipmunk -g chipmunk -m 0700 /data /data/cache /data/log /data/nginx /data/run /data/store
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 CHIPMUNK_DATA_DIR=/data
WORKDIR /srv

FROM house AS gateway
COPY --from=gateway-environment /app /app
COPY chipmunk chipmunk
COPY gateway gateway
RUN chmod -R a+rX /srv && python -m compileall -q /srv
USER 10001:10001
CMD ["python", "-m", "gateway"]

FROM house AS compressor
COPY --from=compressor-environment /app /app
COPY chipmunk chipmunk
COPY compressor compressor
COPY migrations migrations
COPY nginx nginx
COPY plugins plugins
RUN chmod -R a+rX /srv && python -m compileall -q /srv
USER 10001:10001
CMD ["python", "-m", "compressor"]
