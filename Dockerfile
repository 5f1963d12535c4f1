FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# A fixed number, so that volumes keep their owner from one image to the next.
RUN useradd --system --uid 10001 --no-create-home gobbler \
    && install --directory --owner gobbler --group gobbler /var/lib/gobbler
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt && rm /tmp/requirements.txt
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps --no-index /tmp/wheels/*.whl && rm -r /tmp/wheels

USER gobbler
ENV GOBBLER_STORAGE_PATH=/var/lib/gobbler \
    PYTHONUNBUFFERED=1
VOLUME /var/lib/gobbler
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks the server where its options say it listens; past any proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; port = os.environ.get('GOBBLER_HTTP_LISTEN', ':8080').rpartition(':')[2]; path = os.environ.get('GOBBLER_HEALTH_ENDPOINT', '/admin/healthcheck'); r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{port}{path}', timeout=4)"]
ENTRYPOINT ["gobbler"]
