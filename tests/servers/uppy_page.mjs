// What a page of an app does with Uppy: window.send(endpoint, options, base64, name) resolves to how it ended.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

window.send = async (endpoint, options, base64, name) => {
  const uppy = new Uppy({ autoProceed: false });
  const progress = [];
  let media = null;
  uppy.use(Tus, {
    endpoint,
    retryDelays: Array(30).fill(50),
    ...options,
    onAfterResponse: (request, response) => {
      media = response.getHeader("Chipmunk-Media") ?? media;
    },
  });
  uppy.on("upload-progress", (_, { bytesUploaded }) => progress.push(bytesUploaded));
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  uppy.addFile({ name, type: "image/jpeg", data: new Blob([bytes]) });
  const { successful, failed } = await uppy.upload();
  return {
    stored: successful.length,
    failed: failed.map((file) => String(file.error)),
    url: successful[0]?.uploadURL ?? null,
    media,
    progress: Math.max(0, ...progress),
  };
};
