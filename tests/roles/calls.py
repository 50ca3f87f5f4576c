"""Each operation, as it is asked in every role: for something of the owner's, fresh where the call would use it up."""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import count
from typing import Any

from tests.client import fresh
from tests.roles.stage import PICTURE, TUS, Call, Stage

Made = Callable[[Stage], Call]
SEEDS = count()
AWAY = {"url": "https://hooks.invalid/"}


def of(
    method: str, path: Callable[[Stage], str] | str, json: Callable[[Stage], Any] | None = None, **given: Any
) -> Made:
    def made(stage: Stage) -> Call:
        where = path if isinstance(path, str) else path(stage)
        return Call(method, where, None if json is None else json(stage), **given)

    return made


def empty(_: Stage) -> dict[str, Any]:
    return {}


def media(after: str = "") -> Callable[[Stage], str]:
    return lambda s: f"/v1/media/{s.media['id']}{after}"


def some_media(after: str = "") -> Callable[[Stage], str]:
    return lambda s: f"/v1/media/{s.stored()['id']}{after}"


def flow(after: str = "") -> Callable[[Stage], str]:
    return lambda s: f"/v1/flows/{s.flow}{after}"


def _member(stage: Stage) -> str:
    user = stage.app.user()
    stage.answer("PUT", f"/v1/flows/{stage.flow}/members/{user}", json={"role": "viewer"})
    return f"/v1/flows/{stage.flow}/members/{user}"


def _backend(stage: Stage) -> str:
    name, headers = fresh("backend"), stage.headers("operator")
    body = {"url": "s3+http://127.0.0.1:9/bucket", "access_key": "a", "secret_key": "b" * 16, "unchecked": True}
    stage.answer("PUT", f"/v1/backends/{name}", json=body, headers=headers)
    return f"/v1/backends/{name}"


def _app(stage: Stage) -> str:
    path = f"/v1/apps/{fresh('app')}"
    stage.answer("PUT", path, json={}, headers=stage.headers("operator"))
    return path


def _image_body(stage: Stage) -> dict[str, Any]:
    url = stage.site.url("/1.jpg")
    return {"image_extern_url_str": url, "user": stage.owner, "flows_names_lst": [stage.flow]}


def _job_body(stage: Stage) -> dict[str, Any]:
    urls = [stage.site.url("/1.jpg")]
    return {"job_type_str": "process_extern_images", "imgs_urls_str": urls, "user": stage.owner}


def _upload_body(stage: Stage) -> dict[str, Any]:
    return {"user": stage.owner, "flow": [stage.flow], "filename": "a.jpg", "data": base64.b64encode(PICTURE).decode()}


def _edited_body(stage: Stage) -> dict[str, Any]:
    data = base64.b64encode(PICTURE).decode()
    return {"source_image_id_str": stage.media["id"], "target_flow_name_str": stage.flow, "image_base64_data_str": data}


def _variant(stage: Stage) -> str:
    return str(stage.answer("POST", f"/v1/media/{stage.media['id']}/variants", json={"edits": "flip.h"})["url"])


def _some_variant(stage: Stage) -> str:
    made = stage.answer("POST", f"/v1/media/{stage.media['id']}/variants", json={"edits": f"noise.1.{next(SEEDS)}"})
    return f"/v1/media/{stage.media['id']}/variants/{made['number']}"


def _raw(stage: Stage) -> Call:
    return Call("PUT", f"/v1/media?user={stage.owner}&flow={stage.flow}", content=PICTURE)


def _create_upload(stage: Stage) -> Call:
    return Call("POST", "/v1/uploads/", headers=stage.nine_bytes())


def _append(stage: Stage) -> Call:
    said = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    return Call("PATCH", stage.upload(), content=b"1", headers=said)


def _send_direct(stage: Stage) -> Call:
    info = stage.presigned()
    path = info["presigned_url_str"].removeprefix(stage.app.system.url)
    return Call("PUT", path, content=PICTURE, headers=info["headers"])


def _enter(stage: Stage) -> str:
    return str(stage.app.session(stage.owner)["enter_url"]).removeprefix(stage.app.system.url)


def _init(stage: Stage) -> str:
    return f"/v1/images/upload_init?imgf=jpeg&imgn=a.jpg&f={stage.flow}&ct=app&user={stage.owner}"


def _trashed(stage: Stage) -> str:
    path = f"/v1/media/{stage.stored()['id']}"
    stage.answer("POST", f"{path}/trash")
    return f"{path}/restore"


def _link(stage: Stage) -> str:
    return f"/v1/links/{stage.link()['id']}"


def hook(after: str = "") -> Callable[[Stage], str]:
    def made(stage: Stage) -> str:
        for one in stage.answer("GET", "/v1/webhooks")["items"]:
            stage.answer("DELETE", f"/v1/webhooks/{one['id']}")
        path = f"/v1/webhooks/{fresh('hook')}"
        stage.answer("PUT", path, json=AWAY)
        return path + after

    return made


def _delivery(stage: Stage) -> str:
    path = hook()(stage)
    return f"{path}/deliveries/{stage.answer('POST', f'{path}/test')['id']}/retry"


def _mail(stage: Stage) -> dict[str, Any]:
    to = {"email_address": f"{fresh('ann')}@example.com", "email_subject": "Look", "email_body": ""}
    return {"image_id": stage.media["id"], **to}


CALLS: dict[str, Made] = {
    "put_user": of("PUT", lambda s: f"/v1/users/{fresh('made')}", empty),
    "get_user": of("GET", lambda s: f"/v1/users/{s.owner}"),
    "list_users": of("GET", "/v1/users"),
    "delete_user": of("DELETE", lambda s: f"/v1/users/{s.app.user()}"),
    "create_session": of("POST", "/v1/sessions", lambda s: {"user": s.owner, "ttl_seconds": 60}),
    "delete_session": of("DELETE", lambda s: f"/v1/sessions/{s.app.session(s.owner)['id']}"),
    "delete_sessions": of("DELETE", lambda s: f"/v1/users/{s.owner}/sessions"),
    "enter": of("GET", _enter),
    "upload": of("POST", "/v1/media", _upload_body),
    "upload_raw": _raw,
    "list_media": of("GET", lambda s: f"/v1/media?user={s.owner}"),
    "get_media": of("GET", media()),
    "change_media": of("PATCH", media(), lambda s: {"title": "A title", "tags": ["one"]}),
    "search_media": of("GET", lambda s: f"/v1/search?q=jpg&user={s.owner}"),
    "delete_media": of("DELETE", some_media()),
    "edit_media": of("POST", media("/edits"), lambda s: {"edits": "flip.h", "flow": s.flow}),
    "create_variant": of("POST", media("/variants"), lambda s: {"edits": "flip.h"}),
    "list_variants": of("GET", media("/variants")),
    "delete_variant": of("DELETE", _some_variant),
    "view_variant": of("GET", _variant),
    "trash_media": of("POST", some_media("/trash")),
    "restore_media": of("POST", _trashed),
    "similar_media": of("GET", media("/similar")),
    "view": of("GET", lambda s: f"{s.media['url']}1/"),
    "tus_options": of("OPTIONS", "/v1/uploads/"),
    "create_upload": _create_upload,
    "upload_options": of("OPTIONS", lambda s: s.upload()),
    "upload_offset": of("HEAD", lambda s: s.upload(), headers=TUS),
    "get_upload": of("GET", lambda s: s.upload()),
    "append_upload": _append,
    "delete_upload": of("DELETE", lambda s: s.upload(), headers=TUS),
    "add_img": of("POST", "/v1/images/flows/add_img", _image_body),
    "start_images_job": of("POST", "/images/jobs/start", _job_body),
    "images_job_status": of("GET", lambda s: f"/images/jobs/status?images_job_id_str={s.failed}"),
    "all_flows": of("GET", "/v1/images/flows/all"),
    "browser_page": of("GET", lambda s: f"/v1/images/flows/browser_page?fname={s.closed}"),
    "images_exist": of("POST", "/v1/images/flows/imgs_exist", lambda s: {"images_extern_urls_lst": []}),
    "get_image": of("GET", lambda s: f"/v1/images/get?img_id={s.media['id']}"),
    "gif_info": of("GET", lambda s: f"/images/gif/get_info?gfimg_id={s.media['id']}"),
    "approve_media": of("POST", some_media("/approve")),
    "classify_images": of("POST", "/v1/images/classify", lambda s: {"images_ids_lst": [s.media["id"]]}),
    "upload_metrics": of("POST", lambda s: f"/v1/images/upload_metrics?imgid={s.media['id']}&ct=app", empty),
    "browser_results": of("POST", "/v1/images/c", lambda s: {"jr": []}),
    "images_by_name": of("POST", "/images/d/bulk", lambda s: {"names": ["a.jpg"], "fname": s.closed}),
    "image_by_name": of("GET", lambda s: f"/images/d/a.jpg?fname={s.closed}"),
    "images_healthz": of("GET", "/v1/images/healthz"),
    "images_v1_healthz": of("GET", "/v1/images/v1/healthz"),
    "upload_init": of("GET", _init),
    "upload_complete": of("POST", lambda s: f"/v1/images/upload_complete?imgid={s.sent()}&f={s.flow}", empty),
    "save_edited": of("POST", "/images/editor/save", _edited_body),
    "send_direct": _send_direct,
    "create_link": of("POST", media("/links"), lambda s: {"audience": "anyone"}),
    "list_links": of("GET", media("/links")),
    "delete_links": of("DELETE", some_media("/links")),
    "delete_link": of("DELETE", _link),
    "open_link": of("POST", lambda s: f"/v1/links{s.link(max_views=1)['url']}open", empty),
    "share_page": of("GET", lambda s: s.link(password="heron")["page"]),
    "share": of("POST", "/v1/images/share", _mail),
    "unsubscribe_page": of("GET", lambda s: f"/unsubscribe/{s.recipient()}"),
    "unsubscribe": of("POST", lambda s: f"/unsubscribe/{s.recipient()}"),
    "put_flow": of("PUT", lambda s: f"/v1/flows/{fresh('flow')}", empty),
    "get_flow": of("GET", flow()),
    "list_flows": of("GET", "/v1/flows"),
    "delete_flow": of("DELETE", lambda s: f"/v1/flows/{s.shared_flow()}"),
    "flow_page": of("GET", lambda s: f"/v1/flows/{s.open}/page"),
    "flow_json_feed": of("GET", lambda s: f"/v1/flows/{s.open}/feed.json"),
    "flow_atom_feed": of("GET", lambda s: f"/v1/flows/{s.open}/feed.atom"),
    "list_flow_media": of("GET", lambda s: f"/v1/flows/{s.closed}/media"),
    "put_flow_media": of("PUT", lambda s: f"/v1/flows/{s.flow}/media/{s.stored('general')['id']}"),
    "delete_flow_media": of("DELETE", lambda s: f"/v1/flows/{s.flow}/media/{s.stored()['id']}"),
    "list_members": of("GET", flow("/members")),
    "put_member": of("PUT", lambda s: f"/v1/flows/{s.flow}/members/{s.app.user()}", lambda s: {"role": "viewer"}),
    "delete_member": of("DELETE", _member),
    "put_flow_backends": of("PUT", flow("/backends"), lambda s: {"backends": []}),
    "move_flow": of("POST", lambda s: f"/v1/flows/{s.shared_flow()}/move", empty),
    "list_audit": of("GET", lambda s: f"/v1/audit?user={s.owner}"),
    "get_job": of("GET", lambda s: f"/v1/jobs/{s.failed}"),
    "cancel_job": of("DELETE", lambda s: f"/v1/jobs/{s.slow_job()}"),
    "retry_job": of("POST", lambda s: f"/v1/jobs/{s.ended_job('/none.jpg')}/retry"),
    "list_job_images": of("GET", lambda s: f"/v1/jobs/{s.failed}/images"),
    "job_events": of("GET", lambda s: f"/v1/jobs/{s.failed}/events"),
    "user_events": of("GET", lambda s: f"/v1/events?user={s.owner}"),
    "put_app": of("PUT", lambda s: f"/v1/apps/{fresh('app')}", empty),
    "get_app": of("GET", lambda s: f"/v1/apps/{s.other}"),
    "list_apps": of("GET", "/v1/apps"),
    "delete_app": of("DELETE", _app),
    "create_key": of("POST", lambda s: f"{_app(s)}/keys", empty),
    "list_keys": of("GET", "/v1/apps/default/keys"),
    "rotate_key": of("POST", lambda s: f"/v1/apps/{s.other}/keys/{s.key(s.other)['id']}/rotate", empty),
    "delete_key": of("DELETE", lambda s: f"/v1/apps/{s.other}/keys/{s.key(s.other)['id']}"),
    "put_backend": of("PUT", _backend, lambda s: {"url": "s3+http://127.0.0.1:9/bucket", "unchecked": True}),
    "get_backend": of("GET", "/v1/backends/local"),
    "list_backends": of("GET", "/v1/backends"),
    "delete_backend": of("DELETE", _backend),
    "scrub_backend": of("POST", "/v1/backends/local/scrub"),
    "put_webhook": of("PUT", lambda s: f"/v1/webhooks/{fresh('hook')}", lambda s: AWAY),
    "get_webhook": of("GET", hook()),
    "list_webhooks": of("GET", "/v1/webhooks"),
    "delete_webhook": of("DELETE", hook()),
    "rotate_webhook": of("POST", hook("/rotate")),
    "test_webhook": of("POST", hook("/test")),
    "list_deliveries": of("GET", hook("/deliveries")),
    "retry_deliveries": of("POST", hook("/deliveries/retry")),
    "retry_delivery": of("POST", _delivery),
    "healthz": of("GET", "/healthz"),
    "livez": of("GET", "/livez"),
    "metrics": of("GET", "/metrics"),
    "openapi": of("GET", "/openapi.json"),
    "docs": of("GET", "/docs"),
}
