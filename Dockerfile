# The engine, the signer and the dashboard in one image; which of them runs is the command. Nothing of it is secret:
# configuration and keys are mounted.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements-bootstrap.lock requirements-build.lock requirements.lock ./
RUN python -m venv /opt/ouro \
    && /opt/ouro/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements-bootstrap.lock \
    && /opt/ouro/bin/uv pip install --python /opt/ouro/bin/python --require-hashes --only-binary :all: \
        -r requirements.lock -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/ouro/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/ouro ouro
COPY --from=build /opt/ouro /opt/ouro
ENV PATH=/opt/ouro/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/lib/ouro/.numba
USER ouro
WORKDIR /var/lib/ouro
EXPOSE 9464
ENTRYPOINT ["ouro"]
CMD ["run", "--config", "/etc/ouro/ouro.toml", "--no-view"]
