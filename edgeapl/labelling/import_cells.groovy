// Imports the cells that EdgeAPL found into all images of the open QuPath project, at once.
// Research use only. Not for diagnosis.
//
// Add the images to a project, drag this file onto QuPath and press Run. Run it again at any time:
// cells that were imported before are replaced, all other objects stay. Needs QuPath 0.4 or later.

// Where this file and images.json lie; change it when the folder was moved.
def FOLDER = ''

import groovy.json.JsonSlurper
import qupath.lib.io.PathIO

/** The entries of images.json that mean an image: by file name, then path, then size and part. */
static List candidates(List rows, String path, String name, int width, int height) {
    def file = path.tokenize('/\\') ? path.tokenize('/\\').last() : ''
    def found = rows.findAll { it.image == file || it.image == name }
    if (found.size() > 1) {
        def longest = found.collect { commonEnd(it.path, path) }.max()
        found = found.findAll { commonEnd(it.path, path) == longest }
    }
    if (found.size() > 1) {
        found = found.findAll { it.width == width && it.height == height }
    }
    if (found.size() > 1) {
        // Pages and series of one file: QuPath numbers them from 0 behind the image's name.
        def number = (name =~ /(\d+)\)?$/)
        found = number.find() ? found.findAll { it.part == (number.group(1) as int) } : found
    }
    return found
}

/** How many parts two paths have in common, counted from their ends. */
static int commonEnd(String one, String two) {
    def a = one.tokenize('/\\').reverse()
    def b = two.tokenize('/\\').reverse()
    int count = 0
    while (count < Math.min(a.size(), b.size()) && a[count] == b[count]) count++
    return count
}

def folder = new File(args ? args[0] : FOLDER)
def index = new File(folder, 'images.json')
if (!index.isFile()) {
    println "There is no ${index}: write at the top of the script where the folder lies"
    return
}
def project = getProject()
if (project == null) {
    println 'No project is open: make one, add the images, and run the script again'
    return
}
def rows = new JsonSlurper().parse(index, 'UTF-8').images
int images = 0, cells = 0
def open = getProjectEntry()
for (entry in project.getImageList()) {
    def uris = entry.getURIs()
    def uri = uris ? uris.iterator().next() : null
    def path = uri == null ? entry.getImageName() : (uri.getPath() ?: uri.toString())
    // What is open is changed where it is shown, so that nothing of it is lost.
    def data = entry == open ? getCurrentImageData() : entry.readImageData()
    def server = data.getServer()
    def found = candidates(rows, path, entry.getImageName(), server.getWidth(), server.getHeight())
    if (found.size() != 1) {
        def why = found ? "fits ${found.size()} frames of EdgeAPL" : 'is no frame of EdgeAPL'
        println "Left alone: ${entry.getImageName()} ${why}"
        continue
    }
    def row = found[0]
    if (row.width != server.getWidth() || row.height != server.getHeight()) {
        println "Left alone: ${entry.getImageName()} has not the size of the frame, " +
            "${row.width} x ${row.height} px"
        continue
    }
    def objects = PathIO.readObjects(new File(folder, row.geojson))
    def ids = objects.collect { it.getID() } as Set
    def hierarchy = data.getHierarchy()
    hierarchy.removeObjects(hierarchy.getDetectionObjects().findAll { it.getID() in ids }, true)
    hierarchy.addObjects(objects)
    entry.saveImageData(data)
    images++
    cells += objects.size()
}
println "Imported ${cells} cells into ${images} of ${project.getImageList().size()} images. " +
    'Research use only. Not for diagnosis.'
